import{b as p,E as t,B as c}from"./Problem-BBdj6pEq.js";function E(s,a,...e){var r=new c(s);p(()=>{const n=a()??null;r.ensure(n,n&&(o=>n(o,...e)))},t)}export{E as s};
