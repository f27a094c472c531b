/** What a plugin imports as "tidegate". There is no DOM, no Node.js, no timer and no network. */
declare module "tidegate" {
  export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
  export interface Event {
    type: "track" | "identify" | "page" | "screen" | "group" | "alias";
    messageId: string;
    event?: string;
    name?: string;
    userId?: string;
    anonymousId?: string;
    timestamp?: string;
    properties?: Record<string, any>;
    traits?: Record<string, any>;
    context?: Record<string, any>;
    [name: string]: any;
  }
  export interface Context<Settings = any> {
    readonly settings: Settings;
    /** Unix milliseconds of the batch, the same on replay. */
    readonly now: number;
    readonly seed: number;
  }
  export type Outcome = { readonly tag: string };
  export type Transform<Settings = any> = (event: Event, context: Context<Settings>) => Event | Event[] | Outcome | null;
  /** Leaves the event as it is: nothing is copied back. */
  export const keep: Outcome;
  /** Filters the event on purpose. */
  export function drop(reason: string): Outcome;
  /** Puts this one event into quarantine. */
  export function fail(code: string, message: string): Outcome;
  /** Throw it in `configure` to refuse settings, or anywhere to fail one event with a code of your own. */
  export class PluginError extends Error {
    constructor(code: string, message: string);
  }
  /** Throw it to have the whole batch tried again later. */
  export class RetryBatch extends Error {
    constructor(message: string, afterMs?: number);
  }
  export const log: Record<"debug" | "info" | "warn" | "error", (...parts: unknown[]) => void>;
  export function count(name: string, delta?: number): void;
  export function now(): number;
  export function seed(): number;
  /** The entry for `key` in a table that the manifest names under `lookups`; null when there is none. */
  export function lookup(table: string, key: string): Json;
  export function encode(text: string): Uint8Array;
  export function decode(bytes: Uint8Array): string;

  /** kind: fields. Make paths once, at the top of the file. */
  export class Path {
    readonly pointer: string;
  }
  export function path(pointer: string): Path;
  export interface Fields {
    getString(at: Path): string | null;
    getNumber(at: Path): number | null;
    getJson(at: Path): Json | undefined;
    has(at: Path): boolean;
    set(at: Path, value: Json): void;
    /** Moves whatever is there, without a copy; says whether anything was. */
    move(at: Path, to: Path): boolean;
    remove(at: Path): void;
  }
  export type Edit<Settings = any> = (event: Fields, context: Context<Settings>) => Outcome | void;

  /** kind: destination. */
  export interface Request {
    method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
    url: string;
    headers?: Record<string, string>;
    /** Text, bytes, or anything that becomes JSON. */
    body?: unknown;
    /** Which events of the batch it carries. */
    events: number[];
    /** Handed back to `classify`. */
    tag?: string;
  }
  export interface Plan {
    requests: Request[];
    skipped?: { event: number; reason: string }[];
    failed?: { event: number; code: string; message: string }[];
  }
  export interface Answer {
    tag: string;
    events: number[];
    response: {
      status: number;
      attempt: number;
      /** Names in lower case. */
      headers: Record<string, string>;
      body: Uint8Array;
      text: string;
      json(): any;
    };
  }
  export type Verdict =
    | "delivered"
    | "retry"
    | "reauthenticate"
    | { retry: number | null }
    | { rejected: { code: string; message: string } }
    | { partial: [event: number, retry: boolean][] }
    | { disable: { code: string; message: string } };
  export type Prepare<Settings = any> = (events: Event[], context: Context<Settings>) => Plan;
  /** What it throws is a rejection: the events go to quarantine with the answer. `RetryBatch` asks for another try. */
  export type Classify<Settings = any> = (answer: Answer, context: Context<Settings>) => Verdict;
  /** 2xx delivered, 401 sign in again, 408, 425, 429 and 5xx later, everything else never. */
  export const classifyByStatus: (answer: Answer) => Verdict;
  export function sign(algorithm: "sha1" | "sha256" | "sha512", secret: string | Uint8Array, data: string | Uint8Array): Uint8Array;
}
