#!/usr/bin/env python3
"""Makes the example tasks; their answers are computed here, never written by a model.

Ten kinds, mixed and shuffled, each line with its own check:
  arithmetic dates units sorting counting   answered by rule
  sentiment topic capital plural extract    true by construction: a sentence is put together from words
                                            of one polarity or topic, a record is put into words, a
                                            plural follows the rules and exceptions listed below
Every kind comes in several wordings. Prompts are unique. The words that agents' own examples use
(RESERVED below) never occur here, so nothing of a task stands in an agent's folder.

Run: tools/make_examples.py [FOLDER]               writes mixed.jsonl, thousand.jsonl and held_out.jsonl into examples/
     tools/make_examples.py --check                compares with what is there
     tools/make_examples.py --tasks N --seed S     prints N tasks; the same N and S give the same bytes
"""
import argparse
import datetime
import json
import pathlib
import random
import re
import sys

# Left to the agents' own few-shot examples; no task uses them.
RESERVED = {
    "capital": ["France", "Japan", "Egypt", "Canada", "Poland", "Peru"],
    "plural": ["book", "city", "fox", "leaf", "mouse", "toy"],
    "extract": ["Anna", "Tom", "Lucy", "Leeds", "Turin", "Quito", "baker", "nurse", "clerk"],
}


def names(text):
    return text.split()


# ---- answered by rule ----

def arithmetic(rng):
    a, b, c = rng.randint(12, 499), rng.randint(3, 99), rng.randint(2, 19)
    which = rng.randrange(3)
    if which == 0:  # two numbers in words
        op = rng.choice("+-*/")
        if op == "/":
            a = b * c
        words = {"+": ["{a} plus {b}", "the sum of {a} and {b}"],
                 "-": ["{a} minus {b}", "the difference when you take {b} from {a}"],
                 "*": ["{a} times {b}", "the product of {a} and {b}"],
                 "/": ["{a} divided by {b}", "the quotient of {a} and {b}"]}[op]
        text = rng.choice(words).format(a=a, b=b)
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]
        form = rng.choice(["What is the result of {x}?", "Work out {x}.", "Calculate {x}."])
    else:  # an expression
        text, value = rng.choice([
            (f"{a} + {b} * {c}", a + b * c), (f"({a} + {b}) * {c}", (a + b) * c),
            (f"{a} - {b} - {c}", a - b - c), (f"{a} * {c} - {b}", a * c - b),
            (f"{b * c} / {c} + {a}", b + a), (f"{a} - ({b} - {c})", a - (b - c)),
            (f"{a} + {b} - {c}", a + b - c), (f"({b} - {c}) * ({c} + {a})", (b - c) * (c + a))])
        form = rng.choice(["Calculate {x}", "{x} = ?", "Evaluate the expression {x}",
                           "What is the value of {x}?"])
    return {"prompt": form.replace("{x}", text), "answer": value, "check": "numeric"}


MONTHS = names("January February March April May June July August September October November December")
DAYS = names("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


def long_date(day):
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}"


def dates(rng):
    day = datetime.date(1950, 1, 1) + datetime.timedelta(rng.randrange(36500))
    which = rng.randrange(4)
    if which == 0:
        form = rng.choice(["What day of the week was {d}?", "Which weekday is {d}?",
                           "On which day of the week does {d} fall?"])
        return {"prompt": form.format(d=rng.choice([long_date(day), day.isoformat()])),
                "answer": DAYS[day.weekday()], "check": "label"}
    if which == 1:
        form = rng.choice(["Write the date {d} as YYYY-MM-DD.", "Give {d} in ISO format.",
                           "Convert the date {d} to the form YYYY-MM-DD."])
        given = rng.choice([long_date(day), f"{day.day} {MONTHS[day.month - 1]} {day.year}"])
        return {"prompt": form.format(d=given), "answer": day.isoformat(), "check": "exact"}
    if which == 2:
        n = rng.randint(2, 400)
        sign, word = rng.choice([(1, "after"), (-1, "before")])
        form = rng.choice(["Which date is {n} days {w} {d}? Answer as YYYY-MM-DD.",
                           "What is the date {n} days {w} {d}? Use the form YYYY-MM-DD."])
        return {"prompt": form.format(n=n, w=word, d=day.isoformat()),
                "answer": (day + datetime.timedelta(sign * n)).isoformat(), "check": "exact"}
    other = day + datetime.timedelta(rng.randint(1, 1000))
    form = rng.choice(["How many days lie between {a} and {b}?",
                       "Count the days from {a} to {b}."])
    return {"prompt": form.format(a=day.isoformat(), b=other.isoformat()),
            "answer": (other - day).days, "check": "numeric"}


# (from, to, num, den): value * num / den
UNITS = [("kilometers", "meters", 1000, 1), ("meters", "centimeters", 100, 1),
         ("kilograms", "grams", 1000, 1), ("hours", "minutes", 60, 1), ("minutes", "seconds", 60, 1),
         ("feet", "inches", 12, 1), ("yards", "feet", 3, 1), ("pounds", "ounces", 16, 1),
         ("gallons", "quarts", 4, 1), ("liters", "milliliters", 1000, 1), ("days", "hours", 24, 1),
         ("weeks", "days", 7, 1), ("meters", "kilometers", 1, 1000), ("grams", "kilograms", 1, 1000),
         ("inches", "feet", 1, 12), ("minutes", "hours", 1, 60), ("ounces", "pounds", 1, 16)]


def units(rng):
    if rng.random() < 0.1:
        celsius = 5 * rng.randint(-8, 40)
        form = rng.choice(["Convert {v} degrees Celsius to Fahrenheit.",
                           "How many degrees Fahrenheit are {v} degrees Celsius?"])
        return {"prompt": form.format(v=celsius), "answer": celsius * 9 // 5 + 32, "check": "numeric"}
    source, target, num, den = rng.choice(UNITS)
    value = rng.randint(2, 90) * (den if den < 1000 else den // 4)
    answer = value * num / den
    form = rng.choice(["Convert {v} {s} to {t}.", "How many {t} are {v} {s}?",
                       "Express {v} {s} in {t}.", "Change {v} {s} into {t}."])
    return {"prompt": form.format(v=value, s=source, t=target),
            "answer": int(answer) if answer == int(answer) else answer, "check": "numeric"}


THINGS = names("apple river window candle garden mirror bottle ladder pencil rocket tiger violin "
               "anchor basket camera dragon engine feather guitar hammer island jacket kettle lemon "
               "magnet needle orange pepper quilt ribbon saddle teapot umbrella velvet wagon yellow "
               "zebra button carpet donkey flower helmet insect jungle kitten lantern meadow napkin "
               "olive parrot rabbit silver tunnel valley walnut bridge castle desert forest hotel")


def sorting(rng):
    if rng.random() < 0.5:
        items = rng.sample(THINGS, rng.randint(4, 8))
        form = rng.choice(["Sort these words alphabetically: {l}", "Put these words in alphabetical order: {l}",
                           "Arrange the words from A to Z: {l}"])
        return {"prompt": form.format(l=", ".join(items)), "answer": ", ".join(sorted(items)),
                "check": "exact"}
    items = rng.sample(range(-50, 500), rng.randint(4, 8))
    down = rng.random() < 0.5
    form = rng.choice(["Sort these numbers from {o}: {l}", "Order the numbers from {o}: {l}"])
    return {"prompt": form.format(o="largest to smallest" if down else "smallest to largest",
                                  l=", ".join(map(str, items))),
            "answer": ", ".join(map(str, sorted(items, reverse=down))), "check": "exact"}


def counting(rng):
    which = rng.randrange(3)
    if which == 0:
        word = rng.choice(THINGS) + rng.choice(["", rng.choice(THINGS)])
        letter = rng.choice(word)
        form = rng.choice(["How many times does the letter {c} occur in the word {w}?",
                           "Count the letter {c} in {w}."])
        return {"prompt": form.format(c=letter, w=word), "answer": word.count(letter), "check": "numeric"}
    items = [rng.choice(THINGS) for _ in range(rng.randint(4, 12))]
    if which == 1:
        form = rng.choice(["How many words are in this list: {l}", "Count the words: {l}"])
        return {"prompt": form.format(l=" ".join(items)), "answer": len(items), "check": "numeric"}
    word = rng.choice(THINGS)
    form = rng.choice(["How many letters does the word {w} have?", "Count the letters in the word {w}."])
    word += rng.choice(["", rng.choice(THINGS)])
    return {"prompt": form.format(w=word), "answer": len(word), "check": "numeric"}


# ---- true by construction ----

GOOD = names("wonderful excellent delightful superb fantastic charming perfect brilliant lovely "
             "marvelous outstanding beautiful amazing splendid")
BAD = names("terrible awful horrible dreadful disgusting boring disappointing lousy miserable "
            "pathetic ugly annoying worthless unpleasant")
GOOD_END = ["I will come back soon", "we enjoyed every minute", "I recommend it to everybody",
            "it made my day", "we were very happy"]
BAD_END = ["I will never come back", "we wasted our money", "I cannot recommend it to anybody",
           "it ruined my day", "we were very unhappy"]
SUBJECTS = names("food service room movie staff music book hotel acting story dinner concert garden "
                 "breakfast plot view coffee phone trip show")


def sentiment(rng):
    good = rng.random() < 0.5
    words, end = rng.sample(GOOD if good else BAD, 2), rng.choice(GOOD_END if good else BAD_END)
    first, second = rng.sample(SUBJECTS, 2)
    article = "an" if words[0][0] in "aeiou" else "a"
    review = rng.choice([f"The {first} was {words[0]} and the {second} was {words[1]}.",
                         f"The {first} was {words[0]}, {end}.",
                         f"{article.capitalize()} {words[0]} {first}, and the {second} was {words[1]} too.",
                         f"What {article} {words[0]} {first}! The {second} was {words[1]}, and {end}."])
    form = rng.choice(["Is this review positive or negative? Answer with one word.\n{r}",
                       "Review: {r}\nIs the review positive or negative? Answer with one word.",
                       "Decide whether the opinion is positive or negative. Say one word.\n{r}",
                       "What is the sentiment of this text? Answer positive or negative.\n{r}"])
    return {"prompt": form.format(r=review), "answer": "positive" if good else "negative",
            "check": "label", "labels": ["negative", "positive"]}


TOPICS = {
    "sports": [names("team goalkeeper striker coach champion referee runner swimmer player"),
               ["won the match", "scored two goals", "lost the final game", "trained for the tournament",
                "broke the world record", "celebrated the victory in the stadium"]],
    "food": [names("cook chef baker waiter butcher restaurant kitchen bakery grandmother"),
             ["fried the onions in butter", "served a bowl of soup", "baked fresh bread",
              "added salt and garlic to the sauce", "roasted the chicken with potatoes",
              "made a chocolate cake"]],
    "weather": [names("storm sky wind forecast cloud fog thunderstorm hurricane blizzard"),
                ["brought heavy rain", "turned into snow overnight", "will bring sunshine on Monday",
                 "dropped the temperature below zero", "covered the coast with thick clouds",
                 "caused hail and lightning"]],
    "music": [names("band singer orchestra pianist drummer choir violinist guitarist composer"),
              ["played a new song", "sang the melody twice", "recorded an album", "rehearsed the symphony",
               "tuned the instruments before the concert", "wrote the lyrics of the chorus"]],
}


def topic(rng):
    label = rng.choice(sorted(TOPICS))
    who, what = TOPICS[label]
    time = rng.choice(["yesterday", "this week", "last night", "in the evening", "after a long day",
                       "once again", "early in the morning", "for the third time"])
    text = f"The {rng.choice(who)} {rng.choice(what)} {time}."
    form = rng.choice(["Which topic is this: food, music, sports or weather? Answer with one word.\n{t}",
                       "Classify the text as food, music, sports or weather. Say one word.\n{t}",
                       "Text: {t}\nIs the topic food, music, sports or weather? Answer with one word.",
                       "What is the text about? Choose one word of food, music, sports, weather.\n{t}"])
    return {"prompt": form.format(t=text), "answer": label, "check": "label", "labels": sorted(TOPICS)}


CAPITALS = dict(pair.split("=") for pair in (
    "Germany=Berlin Spain=Madrid Italy=Rome Greece=Athens Portugal=Lisbon Austria=Vienna Russia=Moscow "
    "China=Beijing Ireland=Dublin Norway=Oslo Sweden=Stockholm Denmark=Copenhagen Finland=Helsinki "
    "Hungary=Budapest Belgium=Brussels Netherlands=Amsterdam Turkey=Ankara Iran=Tehran Iraq=Baghdad "
    "Thailand=Bangkok Kenya=Nairobi Cuba=Havana Chile=Santiago Colombia=Bogotá "
    "Romania=Bucharest Bulgaria=Sofia Serbia=Belgrade Croatia=Zagreb Nepal=Kathmandu Lebanon=Beirut "
    "Syria=Damascus Afghanistan=Kabul Pakistan=Islamabad Indonesia=Jakarta Philippines=Manila "
    "Vietnam=Hanoi Taiwan=Taipei Ethiopia=Addis_Ababa Ghana=Accra Senegal=Dakar Libya=Tripoli "
    "Tunisia=Tunis Jordan=Amman Iceland=Reykjavik Jamaica=Kingston Venezuela=Caracas Uruguay=Montevideo "
    "England=London Scotland=Edinburgh Wales=Cardiff Switzerland=Bern Argentina=Buenos_Aires "
    "Zimbabwe=Harare Somalia=Mogadishu Malaysia=Kuala_Lumpur Bangladesh=Dhaka Algeria=Algiers "
    "Armenia=Yerevan Latvia=Riga Estonia=Tallinn Lithuania=Vilnius Slovakia=Bratislava Slovenia=Ljubljana").split())


def capital(rng):
    country = rng.choice(sorted(CAPITALS))
    form = rng.choice(["What is the capital of {c}? Answer with the name only.",
                       "Name the capital city of {c}. Write the name only.",
                       "Which city is the capital of {c}? Answer with the city only.",
                       "Which is the capital city of {c}? Give just the name.",
                       "Tell me the capital of {c}. Only the name of the city, please."])
    return {"prompt": form.format(c=country), "answer": CAPITALS[country].replace("_", " "),
            "check": "label"}


REGULAR = names("cat dog car tree house river table chair pencil window garden doctor teacher letter "
                "boat cloud train lamp phone ticket farmer bird horse shoe flower apple orange road "
                "song game door star king queen shirt hat picture computer mountain street")
SIBILANT = names("box bus glass dish watch church class bench brush kiss dress peach wish match lunch "
                 "beach witch tax boss bush")
CONSONANT_Y = names("baby lady party story country family berry army body copy duty enemy factory fly "
                    "hobby library memory penny puppy spy")
VOWEL_Y = names("boy day key monkey donkey tray turkey valley essay delay")
F_TO_V = {"knife": "knives", "wife": "wives", "life": "lives", "wolf": "wolves", "half": "halves",
          "shelf": "shelves", "thief": "thieves", "calf": "calves", "loaf": "loaves"}
IRREGULAR = {"child": "children", "foot": "feet", "tooth": "teeth", "man": "men", "woman": "women",
             "goose": "geese", "person": "people", "ox": "oxen"}


def plural_of(word):
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in F_TO_V:
        return F_TO_V[word]
    if word in CONSONANT_Y:
        return word[:-1] + "ies"
    if word in SIBILANT:
        return word + "es"
    return word + "s"


def plural(rng):
    words = rng.choice([REGULAR, REGULAR, SIBILANT, CONSONANT_Y, VOWEL_Y, sorted(F_TO_V), sorted(IRREGULAR)])
    word = rng.choice(words)
    form = rng.choice(["What is the plural of {w}? Answer with one word.",
                       "Give the plural form of the noun {w}. Answer with one word.",
                       "Write the noun {w} in the plural. Write one word only.",
                       "Which word is the plural of {w}? Say only the word.",
                       "Plural of the noun {w}? One word, please."])
    return {"prompt": form.format(w=word), "answer": plural_of(word), "check": "label"}


PEOPLE = names("Maria Peter Julia David Sofia Martin Emma Robert Laura Daniel Clara Victor Helen Oscar "
               "Irene Simon Nora Felix Alice Hugo")
CITIES = names("Paris London Berlin Madrid Rome Vienna Prague Oslo Dublin Lisbon Athens Boston Chicago "
               "Denver Toronto Sydney")
JOBS = names("teacher doctor painter lawyer farmer driver dentist singer writer plumber pilot gardener")


def extract(rng):
    name, city, job, age = rng.choice(PEOPLE), rng.choice(CITIES), rng.choice(JOBS), rng.randint(19, 79)
    text = rng.choice([f"{name} is a {job} from {city} and {age} years old.",
                       f"The {job} {name}, {age}, lives in {city}.",
                       f"My friend {name} works as a {job} in {city}. My friend is {age} years old.",
                       f"At {age}, {name} moved to {city} and became a {job}.",
                       f"In {city} I met {name}, a {job} of {age} years."])
    form = rng.choice(["Extract name, age, job and city as JSON. Write only the JSON object.\n{t}",
                       "Give the name, age, job and city in this text as one JSON object, nothing else.\n{t}",
                       "Text: {t}\nReturn only JSON with the keys name, age, job, city."])
    answer = {"name": name, "age": age, "job": job, "city": city}
    return {"prompt": form.format(t=text), "answer": json.dumps(answer), "check": "json"}


KINDS = [arithmetic, dates, units, sorting, counting, sentiment, topic, capital, plural, extract]


FILES = {"mixed.jsonl": (600, 1), "thousand.jsonl": (1000, 2), "held_out.jsonl": (80, 3)}  # name -> tasks, seed


def make(count, seed, without=()):
    """`count` tasks, the kinds as evenly as can be, shuffled; prompts are unique, and none of `without`."""
    rng = random.Random(f"examples {seed}")
    tasks, seen = [], set(without)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        for _ in range(10_000):
            task = kind(rng)
            if task["prompt"] not in seen:
                break
        else:
            sys.exit(f"no new task of kind {kind.__name__}; ask for fewer")
        words = set(re.findall(r"\w+", task["prompt"]))
        taken = words.intersection(RESERVED.get(kind.__name__, ()))
        if taken:
            sys.exit(f"{sorted(taken)} belong to the agents' own examples: {task['prompt']}")
        seen.add(task["prompt"])
        tasks.append({"kind": kind.__name__, **task})
    rng.shuffle(tasks)
    lines = [{"id": f"{task['kind']}-{number:04d}", **task} for number, task in enumerate(tasks)]
    return "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "examples")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.tasks:
        sys.stdout.write(make(args.tasks, args.seed))
        return 0
    good = True
    streams = set()  # prompts; what is held out stands in none of them
    for name, (count, seed) in FILES.items():
        path, text = args.folder / name, make(count, seed, streams if name == "held_out.jsonl" else ())
        streams.update(json.loads(line)["prompt"] for line in text.splitlines())
        if not args.check:
            args.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not what tools/make_examples.py makes")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
