import type { Event } from "tidegate";
import type Default from "nowhere";
import type * as all from "nowhere"
import { drop, type Context, log } from "tidegate";
import { type Json } from "tidegate";
import { type Json as J, type as as K } from "tidegate";
import type, { now } from "tidegate";
interface A extends B, C<string> {
  d: string;
  export(): void;
}
export interface E { f(): void }
type F<T> = T extends infer U ? U : never;
export type G = {
  [K in "a" | "b"]?: K;
}
export type { A }; export type { B } from "nowhere"; export type * from "nowhere";
export { drop, type A as H };
declare const i: number; declare let j: string, k: string
declare function l(m: string): void;
declare class N { p: string; }
declare enum Q { R }
declare const enum S { T = 1 }
declare namespace U { const v: number; enum W { X } }
declare module "y" { export const z: string }
declare global { interface Window { a: string } }
namespace Types { export type A = string; export namespace Inner { interface B {} } }
export namespace Types.More { type C = string }
export declare const exported: string;
function over(a: string): string;
function over(a: number): number
function over(a: any) { return a }
export function twice(a: string): string;
export function twice(a: any) { type Local = string; return a as Local }
abstract class Shape {}
export abstract class Square extends Shape {}
export default interface Nothing {}
var abstract, declare, of = type
abstract
declare
