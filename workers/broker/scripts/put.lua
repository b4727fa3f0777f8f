-- Puts casts on the wire, each at most once: only the one who adds the id to the open set adds the entry, so a late
-- api and an early resend cannot both add. KEYS: open, jobs, then one input key per job.
-- ARGV: per job its 16-byte id, its message, its input ('' when it rides inside), the input's life in ms.
-- Returns the number added.
local added = 0
for i = 1, #KEYS - 2 do
  local at = (i - 1) * 4
  if redis.call('SADD', KEYS[1], ARGV[at + 1]) == 1 then
    if ARGV[at + 3] ~= '' then
      redis.call('SET', KEYS[i + 2], ARGV[at + 3], 'PX', ARGV[at + 4])
    end
    redis.call('XADD', KEYS[2], '*', 'm', ARGV[at + 2])
    added = added + 1
  end
end
return added
