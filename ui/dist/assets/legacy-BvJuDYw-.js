import{a0 as a}from"./Problem-B5yPpN_-.js";a();
