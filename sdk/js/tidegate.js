// What a plugin in JavaScript or TypeScript imports as "tidegate".
export * from "./commerce.js";
export * from "./delivery.js";
export * from "./errors.js";
export * from "./event.js";
export * from "./people.js";
export * from "./runtime.js";
