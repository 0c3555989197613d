#!/bin/sh
# The telephone list of a department, as it has been kept since 1998: a file and grep.
#
#     antiphon serve 'exec:sh examples/phones.sh'
#
# The script has no code for networks, passwords or TLS. Antiphon runs it once for each session, with the person's
# name in ANTIPHON_NAME. PHONES names the file, by default phones.txt.

list=${PHONES:-phones.txt}
touch "$list" || exit

while read -r word name number; do
    case $word in
    find)
        grep -iF -e "$name" "$list" || echo "nobody of that name"
        ;;
    add)
        case $number in
        '' | *[!0-9+]*)
            echo "a number has digits only: add NAME NUMBER"
            ;;
        *)
            echo "$name $number (from ${ANTIPHON_NAME:-$USER})" >>"$list"
            echo "added"
            ;;
        esac
        ;;
    *)
        echo "find NAME, add NAME NUMBER"
        ;;
    esac
done
