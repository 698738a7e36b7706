import{al as a}from"./Loading-BQINvPy7.js";a();
