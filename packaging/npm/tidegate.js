#!/usr/bin/env node
// Starts the program of the package that fits this machine, and ends as it does.
"use strict";

const { spawn } = require("node:child_process");
const os = require("node:os");

const name = `@tidegate/${process.platform}-${process.arch}-gnu`;

function find() {
  try {
    return require.resolve(`${name}/bin/tidegate`);
  } catch {
    const runs = process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
    console.error(
      runs
        ? `tidegate: the package ${name} is missing. It is an optional dependency: install again without --omit=optional and --no-optional, on a Linux with glibc.`
        : `tidegate: there is no program for ${process.platform} on ${process.arch}. It runs on Linux with glibc, on x64 and arm64; elsewhere, in a container.`,
    );
    process.exit(1);
  }
}

const child = spawn(find(), process.argv.slice(2), { stdio: "inherit" });

// The terminal sends SIGINT to both; what others send reaches this process alone.
for (const signal of ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"]) {
  process.on(signal, () => child.kill(signal));
}
process.on("SIGINT", () => {
  const hasTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  if (!hasTerminal) child.kill("SIGINT");
});

child.on("error", (error) => {
  console.error(`tidegate: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  process.exit(signal ? 128 + (os.constants.signals[signal] ?? 0) : code);
});
