-- Takes requests of several callers from their rates (GCRA, the window is one minute). KEYS: one per caller, and one
-- more for each other weight of its requests. ARGV: per key the microseconds one request takes from the minute (those
-- between two requests at its rate, times its weight), and how many such requests came.
-- Returns per caller how many may pass, and the microseconds until its whole rate is back.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for i = 1, #KEYS do
  local interval = tonumber(ARGV[2 * i - 1])
  local wanted = tonumber(ARGV[2 * i])
  local back = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  local room = math.floor((now + 60000000 - back) / interval + 0.000001)
  local passed = math.max(0, math.min(room, wanted))
  back = back + passed * interval
  if passed > 0 then
    redis.call('SET', KEYS[i], string.format('%.0f', back), 'PX', math.ceil((back - now) / 1000) + 1)
  end
  answers[2 * i - 1] = passed
  answers[2 * i] = math.floor(back - now)
end
return answers
