class A {
  @b c() { enum D {} }
}
enum E {}
