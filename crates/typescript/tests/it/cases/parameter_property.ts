class A {
  constructor(a: string, private readonly b: string) {}
}
