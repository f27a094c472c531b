//! A function in Zig against the canonical ABI, with nothing of Tidegate but its WIT: it keeps pages, drops what names
//! "staff", and marks everything else as shouted.

const std = @import("std");

const Text = extern struct { at: [*]const u8, len: usize };

/// `variant outcome`: keep 0, replace 1, emit 2, drop 3, fail 4.
const Outcome = extern struct { case: u32 = 0, text: Text = .{ .at = "", .len = 0 }, rest: [12]u8 = @splat(0) };

const Answer = extern struct { case: u32 = 0, at: [*]Outcome = undefined, len: usize = 0, rest: [40]u8 = @splat(0) };

const heap = std.heap.wasm_allocator;
var answer: Answer = .{};

export fn cabi_realloc(old: ?[*]u8, old_len: usize, alignment: usize, len: usize) [*]u8 {
    _ = alignment;
    const more = heap.alignedAlloc(u8, .@"8", @max(len, 1)) catch @trap();
    if (old) |at| @memcpy(more[0..@min(old_len, len)], at[0..@min(old_len, len)]);
    return more.ptr;
}

export fn @"tidegate:plugin/lifecycle@0.1.0#configure"(_: [*]const u8, _: usize, _: u64) *Answer {
    answer = .{};
    return &answer;
}

export fn @"tidegate:plugin/transformer@0.1.0#transform"(batch: [*]const Text, len: usize) *Answer {
    // A batch may be empty, and its list has an address within the memory all the same.
    const outcomes = heap.alloc(Outcome, @max(len, 1)) catch @trap();
    for (outcomes[0..len], batch[0..len]) |*outcome, event| outcome.* = one(event.at[0..event.len]);
    answer = .{ .at = outcomes.ptr, .len = len };
    return &answer;
}

fn one(event: []const u8) Outcome {
    std.debug.print("an event of {d} bytes\n", .{event.len});
    if (std.mem.indexOf(u8, event, "\"page\"") != null) return .{};
    if (std.mem.indexOf(u8, event, "staff") != null) return .{ .case = 3, .text = text("staff") };
    const end = std.mem.lastIndexOfScalar(u8, event, '}') orelse return .{};
    const shouted = std.fmt.allocPrint(heap, "{s},\"shouted\":true}}", .{event[0..end]}) catch @trap();
    return .{ .case = 1, .text = text(shouted) };
}

fn text(of: []const u8) Text {
    return .{ .at = of.ptr, .len = of.len };
}
