import"./index-BN4EobW2.js";import{A as r}from"./AssetList-Cmn69-5N.js";import"./Pages-Bw6ETvGT.js";function d(t,s){r(t,{get dagId(){return s.dagId}})}export{d as default};
