const a = b as string, c = (d as unknown as number) + 1;
const e = { f: [1, 2] as const } satisfies Record<string, readonly number[]>;
const g = h!.i![0]!(j!);
const k = l?.m!.n, o = (l?.m)!.n;
(p as any).q = 1;
r! += 1;
[s as any, t!] = [1, 2];
for (u of v as number[]) w!++;
const x = y as (z: string) => void ? 1 : 2;
const aa = bb as { cc: string } || dd as typeof import("ee");
const ff = (() => ({}) as Gg)(), hh = `${ii as string}`;
const jj = (1 * 2 as number) ** 2, kk = 3 + 4 as number - 5;
export default ll as Mm
