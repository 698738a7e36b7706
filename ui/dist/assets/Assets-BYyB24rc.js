import"./index-BWPzfJwg.js";import{A as r}from"./AssetList-DQui75cX.js";import"./Pages-k_sVp415.js";function d(t,s){r(t,{get dagId(){return s.dagId}})}export{d as default};
