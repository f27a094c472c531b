type A = string;
export enum Color { Red = "red" }
