-- Asks in the short form of the examples and takes the word that follows the number.

function before(task)
  local text = (task.prompt or ""):lower()
  local noun = text:match("plural of the noun ['\"]?(%a+)") or text:match("noun ['\"]?(%a+)") or
               text:match("plural of the word ['\"]?(%a+)") or text:match("plural of ['\"]?(%a+)") or
               text:match("plural form of ['\"]?(%a+)") or text:match("^one (%a+), two") or
               text:match("say (%a+) when there are many") or text:match("write (%a+) in the plural")
  if noun then return "one " .. noun end
end

function after(task, text)
  return text:match("^%s*two%s+(%a+)") or text
end
