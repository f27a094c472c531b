abstract class A<T> extends B<T> implements C, D<T> {
  private a?: string;
  public static readonly b: number = 1;
  static override readonly c = 2;
  protected d!: T;
  #e: string = "";
  f: string
  g?: string
  get: string
  set?: string
  static: string
  readonly = 1;
  declare: string
  [key: string]: unknown;
  static readonly [key: string]: unknown
  declare h: string;
  abstract i: string;
  abstract j(k: string): void;
  protected abstract get l(): string;
  constructor(m: string, n?: number) { super(m) }
  o(p: string): string;
  o(p: number): number
  o(p: any): any { return p }
  q?(): void {}
  [`r`]?(): void {}
  ["s"]?: string;
  public async *t<U>(u: U): AsyncGenerator<U> { yield u }
  private get v(): string { return "" }
  private set v(w: string) {}
  static { const x: number = 1 }
}
const B = class implements A {}, C = class D implements E {}, F = class extends G /* with */ implements H {};
class /* implements */ I<T> /* implements */ implements J /* and */ , K {}
