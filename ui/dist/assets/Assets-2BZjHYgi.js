import"./index-lPEjmBw0.js";import{A as r}from"./AssetList-D6jHDr-A.js";import"./Pages-Cz_wMPv_.js";function d(t,s){r(t,{get dagId(){return s.dagId}})}export{d as default};
