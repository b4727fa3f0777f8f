-- Gives entries that were not run back: a copy at the end of the stream is visible to every worker at once, which a
-- pending entry is not before it was idle for long. KEYS: jobs, starts. ARGV: group, consumer, suspect deliveries,
-- ids... Returns the number given back; entries of another owner are left alone.
local moved = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if not pending.err and #pending == 1 and pending[1][2] == ARGV[2] then
    local entry = redis.call('XRANGE', KEYS[1], id, id)
    if #entry == 1 then
      local fields = entry[1][2]
      -- The copy starts at no deliveries; that its original was a suspect must not be forgotten.
      if #fields == 2 and pending[1][4] >= tonumber(ARGV[3]) then
        fields[3] = 's'
        fields[4] = '1'
      end
      local copy = redis.call('XADD', KEYS[1], '*', unpack(fields))
      local starts = redis.call('HGET', KEYS[2], id)
      if starts then
        redis.call('HSET', KEYS[2], copy, starts)
        redis.call('HDEL', KEYS[2], id)
      end
      moved = moved + 1
    end
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
  end
end
return moved
