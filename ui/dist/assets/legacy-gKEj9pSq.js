import{a0 as a}from"./Problem-mrFnwMZo.js";a();
