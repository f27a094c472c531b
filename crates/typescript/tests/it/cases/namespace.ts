  namespace A { export type B = string; export const c = 1 }
