import{a0 as a}from"./Problem-uJsniBfL.js";a();
