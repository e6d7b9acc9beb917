-- The model judges a bare text better than one wrapped in a question: leaves only what is to be judged.

local TOPICS = { "food", "music", "sports", "weather" }

local function names_all(line)
  for _, topic in ipairs(TOPICS) do
    if not line:find(topic) then return false end
  end
  return true
end

function before(task)
  local kept = {}
  for line in ((task.prompt or "") .. "\n"):gmatch("(.-)\n") do
    if names_all(line:lower()) then
      line = line:match(":%s*(%S.*)$") or ""  -- the question itself, or what it introduces
      if names_all(line:lower()) then line = "" end
    end
    line = line:gsub("^%s*%a+:%s*", "")  -- "Text:"
    if line:find("%S") then kept[#kept + 1] = line end
  end
  if #kept > 0 then return table.concat(kept, "\n") end
end
