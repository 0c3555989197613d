#!/bin/sh
# The telephone list of the department, as it has been kept since 1998: a file, grep, and whoever types.
#
#     antiphon serve 'exec:sh examples/phones.sh'
#
# Nothing here knows of networks, passwords or TLS. It is run once for each person, who is in ANTIPHON_NAME;
# PHONES says which file, by default phones.txt.

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
