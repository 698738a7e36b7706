import{a0 as a}from"./Problem-CrK1K9Ro.js";a();
