const a = b
type C = string
(d)
const e = f as string
(g)
const h = i as string
[j].map(k)
const l = m satisfies string
`n`
o!
(p)
let q: string
[r].map(s)
t
interface U {}
`v`
w
declare const x: string
/y/.test(z)
const aa = bb as number
+cc
if (dd) ee as string
else ff as string
if (gg) for (;;) hh!
else ii
do jj as string
while (kk)
label: ll as string
;[mm].map(nn)
const rr = () => ss as string
(tt)
throw uu as Error
(vv)
class Ww {
  a = 1
  private ["b"] = 2
  c = 3
  public *d() {}
  f = 6
  declare g: string
  ["h"]() {}
  i = 7;
  [key: string]: unknown
  *j() {}
  k = l as string
  ["m"] = n!
  get: string
  o() {}
}
