# Makes the list of scripts/hot-functions: what is executed, as paths that a person can read, one a line.
#
# Reads the program's functions, one a line and tab-separated: size, weight (0 if it is never executed), place in
# the order of execution, name in the object file, name in Rust. build.rs makes a pattern of each path: its words
# in this order, with anything between. So a path need not be complete: without the types that a function is made
# for it stands for all of them, and a module's for everything in the module.

BEGIN { FS = "\t"; LONG = 1000 }

{ size[$4] = $1; object[NR] = $4 }
$2 > 0 {
    path = readable($5)
    if (path == "") next
    executed[$4] = path
    if (!(path in group)) { order[++count] = path; group[path] = $2 >= 10 }
    own[path] += $1
}

# Where the bracket at the beginning of text is closed.
function closing(text,   i, depth, c) {
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c == "<") depth++
        else if (c == ">" && --depth == 0) return i
    }
    return length(text)
}

# Where " as " begins in "Type as Trait"; 0 for a type alone.
function as(text,   i, depth, c) {
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (index("<([", c)) depth++
        else if (index(">)]", c)) depth--
        else if (depth == 0 && substr(text, i, 4) == " as ") return i
    }
    return 0
}

# The last words of the paths in text that are not in known yet.
function types(text, known,   found, word) {
    while (match(text, /[a-z_0-9]+(::[A-Za-z_0-9]+)+/)) {
        word = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        sub(/.*::/, "", word)
        if ((", " known found ", ") !~ ("[^A-Za-z_0-9]" word "[^A-Za-z_0-9]")) found = found (found == "" ? "" : ", ") word
    }
    return found
}

# <Type as Trait>::function becomes Type::function; closures are their function's, and of the types that a
# function is made for the last words remain, in functions of casulo's own none.
function readable(name,   end, inner, rest, at, type, path, kept) {
    if (name !~ /::/) return ""
    gsub(/\[[0-9a-f]+\]|::\{[^{}]*\}|->/, "", name)
    while (name ~ /^</) {
        end = closing(name)
        inner = substr(name, 2, end - 2)
        rest = substr(name, end + 1)
        at = as(inner)
        type = at ? substr(inner, 1, at - 1) : inner
        sub(/^[&*]*(mut |const )?[&*]*/, "", type)
        if (type ~ /^<?[a-z_0-9]+::/) name = type rest
        else if (at) name = substr(inner, at + 4) rest
        else { gsub(/[^a-z0-9_].*/, "", type); name = type rest }
    }
    while (at = index(name, "<")) {
        path = path substr(name, 1, at - 1)
        name = substr(name, at)
        end = closing(name)
        kept = path ~ /^casulo/ ? "" : types(substr(name, 1, end), path)
        sub(/::$/, "", path)
        path = path (kept == "" ? "" : "<" kept ">")
        name = substr(name, end + 1)
    }
    path = path name
    gsub(/[^A-Za-z0-9_:<>, ]/, "", path)
    return path ~ /^:/ ? "" : path
}

# As build.rs has it, as a regular expression.
function pattern(path,   words, n, i, all, follows) {
    follows = path ~ /(^|::)[a-z0-9_]+::[a-z0-9_]+$/
    n = split(path, words, /[^A-Za-z0-9_]+/)
    if (words[n] == "") n--
    for (i = 1; i <= n; i++)
        all = all (follows && i == n ? "" : ".*") length(words[i]) (words[i] ~ /^_/ ? "_" : "") words[i]
    return "^_R" all
}

# Puts wider in the place of the paths that it covers (narrow, between newlines), if what it brings along that
# is not executed is little.
function widen(wider, narrow, how,   all, members, n, i, found, along, is_in, kept) {
    n = split(narrow, members, "\n")
    for (i = 1; i <= n; i++) is_in[members[i]]
    all = pattern(wider)
    for (i in object) if (object[i] ~ all) {
        if (object[i] in executed && executed[object[i]] in is_in) found += size[object[i]]
        else along += size[object[i]]
    }
    if (along > found / 2 + LONG * (how == "types" ? n - 1 : 1)) return
    for (i in executed) if (executed[i] in is_in) executed[i] = wider
    group[wider] = group[members[1]]
    for (i = 1; i <= count; i++) {
        if (!(order[i] in is_in)) order[++kept] = order[i]
        else if (order[i] == members[1]) order[++kept] = wider
    }
    count = kept
}

# Collects for each wider path what it could stand for, and tries them, from the widest on.
function shorten(how,   i, path, parts, n, k, wide, narrow, members, sorted, m, depth, deepest) {
    for (i = 1; i <= count; i++) {
        path = order[i]
        if (how == "types") {
            while (sub(/(::)?<[^<>]*>/, "", path));
            narrow[path, group[order[i]]] = narrow[path, group[order[i]]] "\n" order[i]
            wide[path, group[order[i]]] = path
        } else if (path !~ /</) {
            n = split(path, parts, "::")
            path = parts[1]
            for (k = 2; k < n; k++) {
                path = path "::" parts[k]
                if (parts[1] == "core" && k == 2) continue
                narrow[path, group[order[i]]] = narrow[path, group[order[i]]] "\n" order[i]
                wide[path, group[order[i]]] = path
            }
        }
    }
    for (depth = 1; depth < 9; depth++) for (i in wide) {
        if (split(wide[i], parts, "::") != depth) continue
        members = present(substr(narrow[i], 2))
        if (members ~ /\n/ || how == "types" && members ~ /</) widen(wide[i], members, how)
    }
}

# Those of these paths that are still in the list.
function present(narrow,   members, n, i, is_there, left) {
    for (i = 1; i <= count; i++) is_there[order[i]]
    n = split(narrow, members, "\n")
    for (i = 1; i <= n; i++) if (members[i] in is_there) left = left (left == "" ? "" : "\n") members[i]
    return left
}

END {
    shorten("types")
    shorten("modules")
    for (i = 1; i <= count; i++) place[order[i]] = i
    # A path that takes what later ones stand for comes behind them, the one with fewer words last.
    for (i = 1; i <= count; i++) {
        all = pattern(order[i])
        taken = 0
        for (name in executed) if (place[executed[name]] > i && name ~ all) taken += size[name]
        if (taken > 300) behind[order[i]] = split(order[i], words, /[^A-Za-z0-9_]+/)
    }
    for (i = 1; i <= count; i++) if (!(order[i] in behind)) sorted[++n] = order[i]
    for (k = 40; k > 0; k--) for (i = 1; i <= count; i++) if (behind[order[i]] == k) sorted[++n] = order[i]
    # What nothing is left for goes, and what next to nothing is.
    for (i = 1; i <= n; i++) {
        all = pattern(sorted[i])
        found = along = 0
        for (name in size) if (!(name in gone) && name ~ all) {
            if (name in executed) found += size[name]
            else along += size[name]
            matched[name]
        }
        if (found && along < 50 * found) {
            print sorted[i]
            for (name in matched) gone[name]
        }
        delete matched
    }
}
