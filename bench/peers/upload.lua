-- Reads a request's body to its end, then answers.
ngx.req.read_body()
local answer = '{"received":true}'
ngx.header["Content-Length"] = #answer
ngx.print(answer)
