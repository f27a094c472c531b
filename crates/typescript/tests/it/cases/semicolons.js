const a = b
;              
(d)
const e = f;         
(g)
const h = i;         
[j].map(k)
const l = m;                
`n`
o 
(p)
let q;       
[r].map(s)
t
;             
`v`
w
;                      
/y/.test(z)
const aa = bb          
+cc
if (dd) ee;         
else ff;         
if (gg) for (;;) hh;
else ii
do jj;         
while (kk)
label: ll          
;[mm].map(nn)
const rr = () => ss;         
(tt)
throw uu;        
(vv)
class Ww {
  a = 1
  ;       ["b"] = 2
  c = 3
  ;      *d() {}
  f = 6
  ;                
  ["h"]() {}
  i = 7;
  ;                     
  *j() {}
  k = l;         
  ["m"] = n;
  get;       
  o() {}
}
