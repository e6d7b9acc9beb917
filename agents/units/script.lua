-- Finds one quantity and one other unit of the same kind, and converts. What it cannot read is left to
-- the model.

-- Plain names; "per" is the size in the first unit of its kind. Exact by definition.
local KINDS = {
  length = { mm = 0.001, millimeter = 0.001, cm = 0.01, centimeter = 0.01, m = 1, meter = 1, km = 1000,
             kilometer = 1000, inch = 0.0254, foot = 0.3048, ft = 0.3048, yard = 0.9144, mile = 1609.344 },
  mass = { mg = 0.001, milligram = 0.001, g = 1, gram = 1, kg = 1000, kilogram = 1000, tonne = 1000000,
           ounce = 28.349523125, oz = 28.349523125, pound = 453.59237, lb = 453.59237 },
  time = { second = 1, minute = 60, hour = 3600, day = 86400, week = 604800 },
  volume = { ml = 1, milliliter = 1, cl = 10, centiliter = 10, l = 1000, liter = 1000,
             pint = 473.176473, quart = 946.352946, gallon = 3785.411784, cup = 236.5882365 },
  data = { byte = 1, kilobyte = 1000, megabyte = 1000000, gigabyte = 1000000000 },
}
local TEMPERATURES = { celsius = true, fahrenheit = true, kelvin = true }
local IRREGULAR = { feet = "foot", inches = "inch" }

-- kind and size of a word, nil when it is no unit
local function unit(word)
  word = IRREGULAR[word] or word
  local spelled = word:gsub("metre", "meter"):gsub("litre", "liter")
  for _, name in ipairs({ spelled, (spelled:gsub("s$", "")) }) do
    if TEMPERATURES[name] then return "temperature", name end
    for kind, sizes in pairs(KINDS) do
      if sizes[name] then return kind, sizes[name] end
    end
  end
end

local function convert_temperature(value, from, to)
  if from == "fahrenheit" then value = (value - 32) * 5 / 9 end
  if from == "kelvin" then value = value - 273.15 end
  if to == "fahrenheit" then return value * 9 / 5 + 32 end
  if to == "kelvin" then return value + 273.15 end
  return value
end

local function show(value)
  local text = string.format("%.9g", value)
  if text:find("e") then text = string.format("%.6f", value):gsub("0+$", ""):gsub("%.$", "") end
  return text
end

function before(task)
  local text = (task.prompt or ""):lower():gsub("(%d),(%d%d%d)", "%1%2"):gsub("degrees? ", "")
  local value, from_kind, from
  local others = {}
  -- Words one after the other; a number directly before a unit makes the quantity.
  local number
  for word in text:gmatch("[%-]?[%d%.]*%a*") do
    local digits, letters = word:match("^(%-?%d*%.?%d*)(%a*)$")
    local read = digits and tonumber(digits)
    if read then number = read end
    if letters and letters ~= "" then
      local kind, size = unit(letters)
      if kind and number and not value then
        value, from_kind, from = number, kind, size
      elseif kind then
        others[#others + 1] = { kind = kind, size = size }
      end
      number = nil
    end
  end
  if not value then return nil end
  for _, other in ipairs(others) do
    if other.kind == from_kind and other.size ~= from then
      if from_kind == "temperature" then
        return { answer = show(convert_temperature(value, from, other.size)) }
      end
      return { answer = show(value * from / other.size) }
    end
  end
end
