# Turns CHANGELOG.md into the changelog of a Debian package: an entry for each version.
#   awk -v package=NAME -v version=VERSION -v maintainer='NAME <ADDRESS>' -v date=RFC-5322 -f changelog.awk CHANGELOG.md
# Unreleased changes belong to the version that is being built, dated by its commit.

# The item that was read, in lines of at most 80 characters.
function close_item(    words, count, i, line) {
    count = split(item, words, " ")
    for (i = 1; i <= count; i++) {
        if (i > 1 && length(line " " words[i]) > 80) {
            lines = lines line "\n"
            line = "   "
        }
        line = i == 1 ? "  * " words[i] : line " " words[i]
    }
    if (count > 0) lines = (lines == "" ? "\n" : lines) line "\n"
    item = ""
}

function close_entry() {
    close_item()
    if (lines != "") printf "%s (%s) stable; urgency=medium\n%s\n -- %s  %s\n\n", package, entry, lines, maintainer, stamp
    lines = ""
}

/^## / {
    close_entry()
    if ($2 == "Unreleased") {
        entry = version
        stamp = date
    } else {
        # "## 1.2.3 - 2026-01-31"
        entry = $2
        ("date -u -R -d " $4) | getline stamp
    }
    next
}
entry == "" { next }
/^### / { close_item(); lines = lines "\n  [ " substr($0, 5) " ]\n"; next }
/^- / { close_item(); item = substr($0, 3); next }
/^  [^ ]/ { item = item " " substr($0, 3) }
END { close_entry() }
