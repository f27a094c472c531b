let a         = "a", b                        = new Map();
let c;        
let d;       
const { e, f: [g] }                             = h(), i            = "";
function h(j        , k         , l , ...m           )                             { return { e: j, f: [k] } }
function n(            o        )                   { return this }
function q(    ) { return this }
const r = function (s           /* kept */)            { return s };
const t = { u(v         = "w")       {}, get x()         { return 1 }, async *y()                         {} };
for (const z of [a]) try { z } catch (error         ) { throw error }
for (let i         = 0; i < 1; i++) { const { length }         = a; }
