import"./index-vnfQ0Evh.js";import{A as r}from"./AssetList-B5oDtZu2.js";import"./Pages-BK09_cDq.js";function d(t,s){r(t,{get dagId(){return s.dagId}})}export{d as default};
