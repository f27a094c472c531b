         class A    extends B                       {
  ;       a         ;
  ;      static          b         = 1;
  static                   c = 2;
  ;         d    ;
  #e         = "";
  f;       
  g;        
  get;       
  set;        
  static;       
  readonly = 1;
  declare;       
  ;                      
  ;                                     
  ;                 
  ;                  
  ;                           
  ;                                  
  constructor(m        , n         ) { super(m) }
  ;                    
  ;                   
  o(p     )      { return p }
  q ()       {}
  [`r`] ()       {}
  ["s"]         ;
  ;      async *t   (u   )                    { yield u }
  ;       get v()         { return "" }
  ;       set v(w        ) {}
  static { const x         = 1 }
}
const B = class              {}, C = class D              {}, F = class extends G /* with */              {};
class /* implements */ I    /* implements */                            {}
