import"./index-DrbQjk7M.js";import{A as r}from"./AssetList-kAp2s0p7.js";import"./Pages-DZjOUzWK.js";function d(t,s){r(t,{get dagId(){return s.dagId}})}export{d as default};
