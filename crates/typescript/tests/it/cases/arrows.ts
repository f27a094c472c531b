const a = <T>(b: T): T => b;
const c = (d: string): {
  e: string;
} => d;
const f = (g, // )
): Promise<
  string
> => g;
const h = async <
  T,
>(i: T): Promise<
  T
> => i;
function j() {
  return <T
  > // (
  (k: T) => k;
}
function* l() {
  yield <T,
  >(m: T) => m;
  throw <
    T>(m: T): // a type
    T => m;
}
const n = o ? (p): string => p : q;
const r = ()
  : string => "";
const s = (t: string, u?: number) => ({ t, u } as const);
