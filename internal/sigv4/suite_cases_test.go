package sigv4

// A suiteCase is one of AWS's published test cases for Signature Version 4:
// service "service", region us-east-1, 20150830T123600Z, host
// example.amazonaws.com.
type suiteCase struct {
	name   string
	method string
	target string
	header string // beside Host and X-Amz-Date
	body   string

	path, query, headers string // parts of the canonical request
	signature            string
}

const suiteHeaders = "host:example.amazonaws.com\nx-amz-date:20150830T123600Z"

var suite = []suiteCase{
	{
		name: "get-header-key-duplicate", method: "GET", target: "/",
		header:    "My-Header1:value2\nMy-Header1:value2\nMy-Header1:value1",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:value2,value2,value1\nx-amz-date:20150830T123600Z",
		signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
	},
	{
		name: "get-header-value-multiline", method: "GET", target: "/",
		header:    "My-Header1:value1\n  value2\n     value3",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:value1 value2 value3\nx-amz-date:20150830T123600Z",
		signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
	},
	{
		name: "get-header-value-order", method: "GET", target: "/",
		header:    "My-Header1:value4\nMy-Header1:value1\nMy-Header1:value3\nMy-Header1:value2",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:value4,value1,value3,value2\nx-amz-date:20150830T123600Z",
		signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
	},
	{
		name: "get-header-value-trim", method: "GET", target: "/",
		header:    "My-Header1: value1\nMy-Header2: \"a   b   c\"",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:value1\nmy-header2:\"a b c\"\nx-amz-date:20150830T123600Z",
		signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
	},
	{
		name: "get-unreserved", method: "GET", target: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		path: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", headers: suiteHeaders,
		signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
	},
	{
		name: "get-utf8", method: "GET", target: "/ሴ",
		path: "/%E1%88%B4", headers: suiteHeaders,
		signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
	},
	{
		name: "get-vanilla-empty-query-key", method: "GET", target: "/?Param1=value1",
		path: "/", query: "Param1=value1", headers: suiteHeaders,
		signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
	},
	{
		name: "get-vanilla-query-order-encoded", method: "GET", target: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
		path: "/", query: "%E1%88%B4=Value1&Param=Value2&Param-3=Value3", headers: suiteHeaders,
		signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
	},
	{
		name: "get-vanilla-query-order-key-case", method: "GET", target: "/?Param2=value2&Param1=value1",
		path: "/", query: "Param1=value1&Param2=value2", headers: suiteHeaders,
		signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
	},
	{
		name: "get-vanilla-query-order-key", method: "GET", target: "/?Param1=value2&Param1=Value1",
		path: "/", query: "Param1=Value1&Param1=value2", headers: suiteHeaders,
		signature: "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
	},
	{
		name: "get-vanilla-query-order-value", method: "GET", target: "/?Param1=value2&Param1=value1",
		path: "/", query: "Param1=value1&Param1=value2", headers: suiteHeaders,
		signature: "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
	},
	{
		name: "get-vanilla-query-unreserved", method: "GET", target: "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		path: "/", query: "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", headers: suiteHeaders,
		signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
	},
	{
		name: "get-vanilla-query", method: "GET", target: "/",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-vanilla-utf8-query", method: "GET", target: "/?ሴ=bar",
		path: "/", query: "%E1%88%B4=bar", headers: suiteHeaders,
		signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
	},
	{
		name: "get-vanilla-with-session-token", method: "GET", target: "/",
		header:    "X-Amz-Security-Token:6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
		path:      "/",
		headers:   "host:example.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-security-token:6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
		signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
	},
	{
		name: "get-vanilla", method: "GET", target: "/",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-relative-relative", method: "GET", target: "/example1/example2/../..",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-relative", method: "GET", target: "/example/..",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-slash-dot-slash", method: "GET", target: "/./",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-slash-pointless-dot", method: "GET", target: "/./example",
		path: "/example", headers: suiteHeaders,
		signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
	},
	{
		name: "get-slash", method: "GET", target: "//",
		path: "/", headers: suiteHeaders,
		signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	},
	{
		name: "get-slashes", method: "GET", target: "//example//",
		path: "/example/", headers: suiteHeaders,
		signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
	},
	{
		name: "get-space", method: "GET", target: "/example space/",
		path: "/example%20space/", headers: suiteHeaders,
		signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
	},
	{
		name: "get-special-character", method: "GET", target: "/example/$delete",
		path: "/example/%24delete", headers: suiteHeaders,
		signature: "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
	},
	{
		name: "post-header-key-case", method: "POST", target: "/",
		path: "/", headers: suiteHeaders,
		signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	},
	{
		name: "post-header-key-sort", method: "POST", target: "/",
		header:    "My-Header1:value1",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:value1\nx-amz-date:20150830T123600Z",
		signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
	},
	{
		name: "post-header-value-case", method: "POST", target: "/",
		header:    "My-Header1:VALUE1",
		path:      "/",
		headers:   "host:example.amazonaws.com\nmy-header1:VALUE1\nx-amz-date:20150830T123600Z",
		signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
	},
	{
		name: "post-sts-header-after", method: "POST", target: "/",
		path: "/", headers: suiteHeaders,
		signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	},
	{
		name: "post-sts-header-before", method: "POST", target: "/",
		header:    "X-Amz-Security-Token:AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
		path:      "/",
		headers:   "host:example.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-security-token:AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
		signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
	},
	{
		name: "post-vanilla-empty-query-value", method: "POST", target: "/?Param1=value1",
		path: "/", query: "Param1=value1", headers: suiteHeaders,
		signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
	},
	{
		name: "post-vanilla-query", method: "POST", target: "/?Param1=value1",
		path: "/", query: "Param1=value1", headers: suiteHeaders,
		signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
	},
	{
		name: "post-vanilla", method: "POST", target: "/",
		path: "/", headers: suiteHeaders,
		signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	},
	{
		name: "post-x-www-form-urlencoded-parameters", method: "POST", target: "/",
		header:    "Content-Type:application/x-www-form-urlencoded; charset=utf8",
		body:      "Param1=value1",
		path:      "/",
		headers:   "content-type:application/x-www-form-urlencoded; charset=utf8\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z",
		signature: "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
	},
	{
		name: "post-x-www-form-urlencoded", method: "POST", target: "/",
		header:    "Content-Type:application/x-www-form-urlencoded",
		body:      "Param1=value1",
		path:      "/",
		headers:   "content-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z",
		signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
	},
}
