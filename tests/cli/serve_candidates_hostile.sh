# A bench of candidates against servers that answer what sella serve never does: one line each, exit 1. Needs python3.
command -v python3 >/dev/null || { echo "python3 is needed"; exit 77; }
cat >server.py <<'END'
import json, os, socket
def http(body, status="200 OK", length=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %s\r\n\r\n" % (status.encode(), str(len(body) if length is None else length).encode()) + body
user = http({"user": "u", "history": [{"item": "1", "title": "A", "time": 1}]})
items = http({"items": [{"item": str(i), "title": "T"} for i in range(5)]})
# name -> the answers in turn, the last one for ever: the user, then the items, then the scores
cases = {
    "not HTTP": [b"220 mail.example ESMTP\r\n\r\n"],
    "closes at once": [b""],
    "NUL bytes": [b"\0" * 5000],
    "NUL in the head": [b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 2\r\n\r\n{}"],
    "NUL in the body": [http(b'{"history":[\0]}')],
    "endless head": [b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100000],
    "no length": [b"HTTP/1.1 200 OK\r\n\r\n{}"],
    "length after the head": [b"HTTP/1.1 200 OK\r\n\r\n\r\nContent-Length: 2\r\n\r\n{}"],
    "huge length": [http({}, length="99999999999999999999999")],
    "negative length": [http({}, length=-1)],
    "length of words": [http({}, length="many")],
    "length too small": [http({"history": []}, length=3)],
    "truncated": [http({"history": []}, length=100)],
    "status of bytes": [http({}, status="\x1b[2J")],
    "no status": [b"HTTP/1.1 \r\nContent-Length: 2\r\n\r\n{}"],
    "no JSON": [http(b"<html>")],
    "deep JSON": [http(b"[" * 100000)],
    "an array": [http([1])],
    "401": [http({"title": "Unauthorized", "detail": "an API key is needed"}, "401 Unauthorized")],
    "404": [http({"detail": "no\r\nsuch\x1b[31m user"}, "404 Not Found")],
    "500 without detail": [http({"detail": 7}, "500 Oops")],
    "no history": [http({"user": "u"})],
    "history no array": [http({"history": {"a": 1}})],
    "empty history": [http({"history": []})],
    "no items": [user, http({})],
    "items no array": [user, http({"items": "all"})],
    "items no objects": [user, http({"items": [1, None, []]})],
    "ids are numbers": [user, http({"items": [{"item": 1}, {"item": 2}]})],
    "too few items": [user, http({"items": [{"item": "1"}] * 9})],
    "second search fails": [user, items, b"HTTP"],
    "score fails": [user] + [items] * 12 + [http({"detail": "too busy"}, "503 Busy")],
}
server = socket.create_server(("127.0.0.1", 0))
with open("up.new", "w") as file:
    file.write(str(server.getsockname()[1]))
with open("names", "w") as file:
    file.write("".join(name + "\n" for name in cases))
os.rename("up.new", "up")
for answers in cases.values():
    for at in range(99):
        peer, _ = server.accept()
        request = b""
        while b"\r\n\r\n" not in request and (part := peer.recv(65536)):
            request += part
        if request.startswith(b"GET /next"):
            peer.close()
            break
        try:
            peer.sendall(answers[min(at, len(answers) - 1)])
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        peer.close()
END
python3 server.py 2>server.err &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=http://127.0.0.1:$(cat up)
while IFS= read -r name; do
    timeout 20 "$SELLA" bench serve --url "$url" --seconds 0.1 --candidates 3 --user u </dev/null >out 2>err
    code=$?
    echo "$name: exit $code, $(wc -c <out) bytes of output, $(wc -l <err) line: $(sed "s|$url|URL|g" err)"
    printf 'GET /next HTTP/1.1\r\n\r\n' >"/dev/tcp/127.0.0.1/$(cat up)"
done <names
cat server.err
