import{ad as a}from"./Problem-BBdj6pEq.js";a();
