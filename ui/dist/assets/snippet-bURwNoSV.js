import{b as p,af as t,B as c}from"./Problem-B5yPpN_-.js";function b(a,s,...e){var r=new c(a);p(()=>{const n=s()??null;r.ensure(n,n&&(o=>n(o,...e)))},t)}export{b as s};
