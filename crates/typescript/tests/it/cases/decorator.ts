class A {
  /* ü */ @bound method() {}
}
