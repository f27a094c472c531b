const a = "👩"                        , b = "ü";
const c = (d      
  )  => d;
;           
	let e        	= "tab";
