//! Greets a person: reads a JSON string from stdin, writes a JSON string to stdout.
const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var read_buffer: [4096]u8 = undefined;
    var write_buffer: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &read_buffer);
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &write_buffer);

    const arena = init.arena.allocator();
    const input = try stdin.interface.allocRemaining(arena, .limited(64 * 1024));
    const name = std.json.parseFromSliceLeaky([]const u8, arena, input, .{}) catch {
        std.debug.print("The input is not a JSON string. Send one, like \"Ada\".\n", .{});
        std.process.exit(1);
    };
    const greeting = try std.fmt.allocPrint(arena, "Hello, {s}!", .{name});
    try stdout.interface.print("{f}\n", .{std.json.fmt(greeting, .{})});
    try stdout.interface.flush();
}
