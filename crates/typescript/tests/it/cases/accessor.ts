class A { static accessor b: number = 1 }
