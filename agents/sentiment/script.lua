-- The model judges a bare text better than one wrapped in a question: leaves only what is to be judged.

function before(task)
  local kept = {}
  for line in ((task.prompt or "") .. "\n"):gmatch("(.-)\n") do
    local lower = line:lower()
    if lower:find("positive") and lower:find("negative") then
      line = line:match(":%s*(%S.*)$") or ""  -- the question itself, or what it introduces
    end
    line = line:gsub("^%s*%a+:%s*", "")  -- "Review:", "Text:"
    if line:find("%S") then kept[#kept + 1] = line end
  end
  if #kept > 0 then return table.concat(kept, "\n") end
end
