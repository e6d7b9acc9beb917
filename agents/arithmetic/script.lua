-- Finds the expression in the question and works it out: numbers, + - * / and brackets, the usual
-- precedence. Words become signs first. A question without an expression is left to the model.

local function to_signs(text)
  text = " " .. text:lower():gsub("(%d),(%d%d%d)", "%1%2") .. " "
  text = text:gsub("[%.%?!]%s", " ")  -- ends of sentences
  -- "the sum of A and B" and its like, then the words between two numbers.
  local number = "(%-?%d+%.?%d*)"
  for word, sign in pairs({ sum = "+", total = "+", product = "*", quotient = "/", difference = "-" }) do
    text = text:gsub(word .. " of " .. number .. " and " .. number, "%1 " .. sign .. " %2")
    text = text:gsub(word .. " between " .. number .. " and " .. number, "%1 " .. sign .. " %2")
  end
  for _, verb in ipairs({ "take away", "take", "subtract" }) do
    text = text:gsub(verb .. " " .. number .. " from " .. number, " = %2 - %1")
  end
  text = text:gsub(" is multiplied by ", " * "):gsub(" is divided by ", " / ")
  text = text:gsub("add " .. number .. " [at][no]d? " .. number, "%1 + %2")
  text = text:gsub("multiply " .. number .. " by " .. number, "%1 * %2")
  text = text:gsub("divide " .. number .. " by " .. number, "%1 / %2")
  text = text:gsub(" plus ", " + "):gsub(" minus ", " - "):gsub(" less ", " - ")
  text = text:gsub(" times ", " * "):gsub(" multiplied by ", " * "):gsub(" divided by ", " / ")
  text = text:gsub(" over ", " / "):gsub("×", "*"):gsub("÷", "/"):gsub("−", "-")
  return (text:gsub("(%d) x (%d)", "%1 * %2"))
end

local function evaluate(text)
  local at = 1
  local expression

  local function skip()
    at = text:find("%S", at) or #text + 1
  end
  local function operand()
    skip()
    local sign = text:sub(at, at)
    if sign == "-" then
      at = at + 1
      local value = operand()
      return value and -value
    end
    if sign == "(" then
      at = at + 1
      local value = expression()
      skip()
      if not value or text:sub(at, at) ~= ")" then return nil end
      at = at + 1
      return value
    end
    local digits = text:match("^%d+%.%d+", at) or text:match("^%d+", at)
    if not digits then return nil end
    at = at + #digits
    return math.tointeger(tonumber(digits)) or tonumber(digits)
  end
  local function term()
    local value = operand()
    while value do
      skip()
      local sign = text:sub(at, at)
      if sign ~= "*" and sign ~= "/" then break end
      at = at + 1
      local right = operand()
      if not right or (sign == "/" and right == 0) then return nil end
      if sign == "*" then value = value * right else value = value / right end
    end
    return value
  end
  function expression()
    local value = term()
    while value do
      skip()
      local sign = text:sub(at, at)
      if sign ~= "+" and sign ~= "-" then break end
      at = at + 1
      local right = term()
      if not right then return nil end
      if sign == "+" then value = value + right else value = value - right end
    end
    return value
  end

  local value = expression()
  skip()
  return at > #text and value or nil
end

local function show(value)
  local whole = math.tointeger(value)
  if whole then return tostring(whole) end
  return (string.format("%.10f", value):gsub("0+$", ""):gsub("%.$", ""))
end

function before(task)
  local signs = to_signs(task.prompt or "")
  if signs:find("%d%d%d%d%-%d%d?%-%d%d?") then return nil end  -- a date
  -- The longest stretch that can be an expression and has an operator between two numbers.
  local best
  for stretch in signs:gmatch("[%d%.%+%-%*/%(%)%s]+") do
    stretch = stretch:match("^[%s%.%*/%+]*(.-)[%s%.%*/%+%-]*$")
    if stretch:find("%d%s*[%+%-%*/]") and (not best or #stretch > #best) then best = stretch end
  end
  local value = best and evaluate(best)
  if value then return { answer = show(value) } end
end
