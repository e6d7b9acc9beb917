-- The model knows capitals best in the sentence "The capital of X is Y.": asks so, and takes Y.

function before(task)
  local text = (task.prompt or ""):gsub("%s+", " ")
  local country = text:match("[Cc]apital of ([^%.%?!:,]+)") or text:match("[Cc]apital city of ([^%.%?!:,]+)")
                  or text:match("^([^:]+): what is its capital")
  if country then return "What is the capital of " .. country .. "?" end
end

function after(task, text)
  return text:match(" is (.-)[%.,;\n]") or text:match(" is (.+)$") or text
end
