-- Sorts what stands behind the colon, or counts letters and words. What it cannot read is left to the
-- model.

local function after_colon(text)
  return text:match(":%s*(.-)%s*$")
end

local function items_of(list)
  local items = {}
  local pattern = list:find(",") and "[^,\n]+" or "%S+"
  for item in list:gmatch(pattern) do
    item = item:match("^%s*(.-)%s*%.?$")
    if item ~= "" then items[#items + 1] = item end
  end
  return items
end

local function sorted(text, lower)
  local list = after_colon(text)
  local items = list and items_of(list)
  if not items or #items < 2 then return nil end
  local numbers = true
  for _, item in ipairs(items) do numbers = numbers and tonumber(item) ~= nil end
  local down = lower:find("descending") or lower:find("largest to") or lower:find("highest to") or
               lower:find("reverse") or lower:find("from z to a")
  table.sort(items, function(a, b)
    if down then a, b = b, a end
    if numbers then return tonumber(a) < tonumber(b) end
    local x, y = a:lower(), b:lower()
    if x ~= y then return x < y end
    return a < b
  end)
  return table.concat(items, ", ")
end

local function unquoted(word)
  return word and word:gsub("[\"'%.%?]", "")
end

local function counted(text, lower)
  local letter = lower:match("the letter [\"']?(%a)[\"']?[%s%.%?]")
  local word = unquoted(lower:match("the word (%S+)"))
  if letter then
    word = word or unquoted(lower:match("%sin (%S+)%s*$"))
    if not word then return nil end
    local _, count = word:gsub(letter, "")
    return tostring(count)
  end
  if lower:find("letters") and word then
    local _, count = word:gsub("%a", "")
    return tostring(count)
  end
  if lower:find("words") or lower:find("numbers") or lower:find("items") then
    local list = after_colon(text)
    return list and tostring(#items_of(list))
  end
end

function before(task)
  local text = task.prompt or ""
  local lower = text:lower()
  local answer
  if lower:find("how many") or lower:find("^%s*count") then
    answer = counted(text, lower)
  elseif lower:find("sort") or lower:find("order") or lower:find("arrange") then
    answer = sorted(text, lower)
  end
  if answer then return { answer = answer } end
end
