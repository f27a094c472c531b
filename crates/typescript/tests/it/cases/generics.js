function a   (b   )    { return b }
const c =                                     (d   )    => d;
const e = async     (f   ) => f;
class G                    extends Array    { h   (i   ) { return super.at   (0) ?? i } }
const j = new Map                             ();
const k = new Set        ;
const l = a               (["m"]);
const n = a        `o`;
const p = j?.get     ("q"), r = j.get?.     ("s");
const t = a        ;
const u = a                (w => w);
const x = 1 < 2, y = 3 > 4, z = a < j, zz = a<j>1;
