#!/bin/sh
# Makes the certificates that the tests of egress use: an authority, a bank's, a client's. Valid for 100 years.
set -eu
cd "$(dirname "$0")"
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"; }
sign() { openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -days 36500 -extfile "$1.ext" -out "$1.pem"; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=Test authority" -days 36500 \
    -addext "basicConstraints=critical,CA:TRUE" -keyout authority.key -out authority.pem
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > bank.ext
printf 'subjectAltName=DNS:client\nextendedKeyUsage=clientAuth\n' > client.ext
for name in bank client; do new $name; sign $name; done
cat client.key >> client.pem
rm -f ./*.csr ./*.ext ./*.srl authority.key client.key
