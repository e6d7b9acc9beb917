-- Reads the dates in a question (2001-02-03, February 3, 2001, 3 February 2001) and reckons in days of
-- the Gregorian calendar. What it cannot read is left to the model.

local MONTHS = { "january", "february", "march", "april", "may", "june", "july", "august",
                 "september", "october", "november", "december" }
local WEEKDAYS = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday" }

-- Days since 0000-03-01 and back. Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
local function to_days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
end

local function from_days(days)
  local era = days // 146097
  local day_of_era = days - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local shifted = (5 * day_of_year + 2) // 153
  local month = (shifted + 2) % 12 + 1
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day_of_year - (153 * shifted + 2) // 5 + 1
end

local function iso(days)
  return string.format("%04d-%02d-%02d", from_days(days))
end

local function month_of(word)
  for number, name in ipairs(MONTHS) do
    if word == name or (#word == 3 and name:sub(1, 3) == word) then return number end
  end
end

-- All dates in order of appearance, as days; the text without them.
local function dates_in(text)
  local found = {}
  local function keep(at, year, month, day)
    year, day = math.tointeger(tonumber(year)), math.tointeger(tonumber(day))
    if not month or month < 1 or month > 12 or day < 1 then return nil end
    local days = to_days(year, month, day)
    local _, m, d = from_days(days)
    if m ~= month or d ~= day then return nil end  -- no such day
    found[#found + 1] = { at = at, days = days }
    return string.rep("\1", 8)
  end
  text = text:gsub("()(%d%d%d%d)%-(%d%d?)%-(%d%d?)", function(at, y, m, d)
    return keep(at, y, math.tointeger(tonumber(m)), d)
  end)
  text = text:gsub("()(%a+)%.? (%d%d?)[a-z]*,? (%d%d%d%d)", function(at, m, d, y)
    return keep(at, y, month_of(m), d)
  end)
  text = text:gsub("()(%d%d?)[a-z]*%.? (%a+),? (%d%d%d%d)", function(at, d, m, y)
    return keep(at, y, month_of(m), d)
  end)
  return found, text
end

function before(task)
  local dates, text = dates_in((task.prompt or ""):lower())
  if #dates == 2 and text:find("days") then
    return { answer = tostring(math.abs(dates[1].days - dates[2].days)) }
  end
  if #dates ~= 1 then return nil end
  local days = dates[1].days
  if text:find("weekday") or text:find("day of the week") then
    return { answer = WEEKDAYS[(days + 2) % 7 + 1] }  -- 0000-03-01 was a Wednesday
  end
  local count, unit, direction = text:match("(%d+) (%a+) (%a+)")
  if count and (direction == "after" or direction == "before") then
    local factor = ({ day = 1, days = 1, week = 7, weeks = 7 })[unit]
    if not factor then return nil end
    local shift = math.tointeger(tonumber(count)) * factor
    return { answer = iso(direction == "after" and days + shift or days - shift) }
  end
  if text:find("iso") or text:find("yyyy%-mm%-dd") then return { answer = iso(days) } end
end
