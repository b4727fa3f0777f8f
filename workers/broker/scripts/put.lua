-- Puts casts on the wire, each at most once: only the one who adds the id to the open set adds the entry, so a late
-- api and an early resend cannot both add. KEYS: open, jobs, then the input key of each job that has one.
-- ARGV: how many jobs; their 16-byte ids; their messages; then for each input key the number of its job, the input, and
-- its life in ms. Returns the number added.
-- Few calls and few strings: each costs the server about as much as an XADD.
local count = tonumber(ARGV[1])
local known = redis.call('SMISMEMBER', KEYS[1], unpack(ARGV, 2, count + 1))
redis.call('SADD', KEYS[1], unpack(ARGV, 2, count + 1))
for i = 3, #KEYS do
  local at = 2 * count + 2 + (i - 3) * 3
  if known[tonumber(ARGV[at])] == 0 then
    redis.call('SET', KEYS[i], ARGV[at + 1], 'PX', ARGV[at + 2])
  end
end
local added, new = 0, {}
for i = 2, count + 1 do
  if known[i - 1] == 0 and not new[ARGV[i]] then
    new[ARGV[i]] = true
    redis.call('XADD', KEYS[2], '*', 'm', ARGV[i + count])
    added = added + 1
  end
end
return added
